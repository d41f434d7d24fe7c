"""The built-in checkers keep the contract of all checkers."""

from __future__ import annotations

from twisted_kong.health.checkers.grpc import GrpcCheckerFactory, GrpcsCheckerFactory
from twisted_kong.health.checkers.http import HttpCheckerFactory, HttpsCheckerFactory
from twisted_kong.health.checkers.tcp import TcpCheckerFactory
from twisted_kong.testing import health_checker_contract

HttpTests = health_checker_contract(HttpCheckerFactory)
HttpsTests = health_checker_contract(HttpsCheckerFactory)
TcpTests = health_checker_contract(TcpCheckerFactory)
GrpcTests = health_checker_contract(GrpcCheckerFactory)
GrpcsTests = health_checker_contract(GrpcsCheckerFactory)

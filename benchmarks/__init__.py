"""What ``make bench`` runs: the gateway beside nginx, HAProxy and Twisted's own web server (README.md)."""

# The gateway in an image, built from wheels alone: but for the base, nothing comes over the network.
#
#     make wheelhouse                                    # the gateway and all it needs, as wheels
#     docker build --file Dockerfile --tag twisted-kong wheelhouse
#     docker run --read-only --volume kong:/var/lib/kong-gateway --publish 8000:8000 twisted-kong
#
# The directory of wheels is the whole build context. Settings are KONG_* variables, or options after the image's name.
# The root file system may be read-only: everything that is kept or written lies in the one volume.

ARG BASE=python:3.13-slim

FROM ${BASE} AS build
COPY *.whl /wheelhouse/
RUN python -m venv /opt/kong-gateway
RUN /opt/kong-gateway/bin/pip install --no-index --no-cache-dir --find-links /wheelhouse twisted-kong
# What twistd would look up and try to write down at every start.
RUN /opt/kong-gateway/bin/python -c "from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))"

FROM ${BASE}
COPY --from=build /opt/kong-gateway /opt/kong-gateway
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/kong-gateway

ENV PATH=/opt/kong-gateway/bin:$PATH
ENV KONG_PREFIX=/var/lib/kong-gateway
ENV KONG_PROXY_ACCESS_LOG=/dev/stdout
ENV KONG_STATUS_LISTEN=0.0.0.0:8007
# Bodies of requests that are too large for memory.
ENV TMPDIR=/var/lib/kong-gateway

USER 10001:10001
WORKDIR /var/lib/kong-gateway
VOLUME /var/lib/kong-gateway
EXPOSE 8000 8443 8007

HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8007/status/ready', timeout=2)"]
# Requests under way are answered: docker stop --time must leave them nginx_main_worker_shutdown_timeout, and drain_delay.
STOPSIGNAL SIGTERM
ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "kong-gateway"]

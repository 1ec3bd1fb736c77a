"""A receiver of OTLP over HTTP on loopback, made of the protocol's own messages (``opentelemetry-proto``)."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (  # type: ignore[import-not-found,unused-ignore]
    ExportLogsServiceRequest,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (  # type: ignore[import-not-found,unused-ignore]
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # type: ignore[import-not-found,unused-ignore]
    ExportTraceServiceRequest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_MESSAGES: dict[str, Any] = {
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}
SCOPE = "exacto_plugin"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    received: list[Any]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append(_MESSAGES[self.path].FromString(body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def plain(value: Any) -> Any:
    """A value of an attribute: text, boolean, integer, float, or a list of them."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    return getattr(value, kind)


def attributes_of(message: Any) -> dict[str, Any]:
    """The attributes of a data point, span or log record."""
    return {one.key: plain(one.value) for one in message.attributes}


class OtlpReceiver:
    """Keeps everything that was exported to it, as a context manager."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.received = []
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.base_url = f"http://127.0.0.1:{self._server.server_port}"

    def _of(self, kind: Any) -> Iterable[Any]:
        return [one for one in list(self._server.received) if isinstance(one, kind)]

    def metrics(self) -> dict[str, Any]:
        """The newest state of each metric of the plugin, by name."""
        return {
            metric.name: metric
            for export in self._of(ExportMetricsServiceRequest)
            for resource in export.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == SCOPE
            for metric in scope.metrics
        }

    def spans(self) -> list[dict[str, Any]]:
        """The attributes of the spans that have any of the plugin's."""
        found = [
            attributes_of(span)
            for export in self._of(ExportTraceServiceRequest)
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return [one for one in found if any(name.startswith("exacto.") for name in one)]

    def events(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Name, body and attributes of the plugin's events; before 1.35 the name is an attribute."""
        return [
            (
                getattr(record, "event_name", "") or attributes_of(record).get("event.name", ""),
                plain(record.body),
                {name: value for name, value in attributes_of(record).items() if name != "event.name"},
            )
            for export in self._of(ExportLogsServiceRequest)
            for resource in export.resource_logs
            for scope in resource.scope_logs
            if scope.scope.name == SCOPE
            for record in scope.log_records
        ]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

"""A Prometheus server of one's own, which scrapes one address every second and evaluates the shipped alerts."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from exacto_plugin.demo.proxy import free_port
from tests.support.proxy.bare_http import plain_http

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

MONITORING = Path(__file__).parents[2] / "examples" / "monitoring"
_START_S = 30.0


def missing() -> str | None:
    """The reason why no server can be started here; None when one can."""
    absent = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not on PATH (Debian: prometheus)" if absent else None


class PrometheusServer:
    """The server as a context manager; its configuration is the shipped one with another target.

    Args:
        directory: for its files.
        base_url: ``http://HOST:PORT`` of the proxy.
        key: that the proxy asks for.
    """

    def __init__(self, directory: Path, base_url: str, key: str) -> None:
        self._directory = directory
        config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [base_url.removeprefix("http://")]}]
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(MONITORING / "alerts.yml", directory)
        (directory / "litellm-key").write_text(key)
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        options = [
            "--config.file=prometheus.yml",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            f"--storage.tsdb.path={self._directory / 'data'}",
        ]
        with (self._directory / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(["prometheus", *options], cwd=self._directory, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                if plain_http().get(f"{self.url}/-/ready").status_code == 200:
                    return self
            except OSError:
                pass
            except Exception as error:  # the client's own errors of connection
                if type(error).__module__.partition(".")[0] != "httpx":
                    raise
            assert self._process.poll() is None, (self._directory / "prometheus.log").read_text()
            assert time.monotonic() < deadline, "Prometheus does not answer"
            time.sleep(0.1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20.0)

    def api(self, path: str, **parameters: str) -> Any:
        """The data of an answer.

        Raises:
            AssertionError: Prometheus answers with an error, whose text this one has.
        """
        answer = plain_http().get(f"{self.url}/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now, each with ``metric`` and ``value``."""
        return list(self.api("query", query=expression)["result"])

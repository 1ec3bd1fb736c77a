"""LiteLLM's UI, as far as it shows a plugin.

The UI itself needs a sign-in with LiteLLM's database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

AS_THE_UI = """async ([url, key]) => {
  document.body.innerHTML = '<iframe title="plugin" style="width: 1000px; height: 700px"></iframe>';
  const frame = document.querySelector('iframe');
  frame.src = `${url.replace(/\\/$/, '')}/`;
  const asked = await fetch(url.replace(/exacto$/, 'api/plugins/auth-token?plugin_name=exacto'), {
    headers: { Authorization: `Bearer ${key}` },
  });
  const { session_claim } = await asked.json();
  const post = () => frame.contentWindow?.postMessage({ type: 'litellm-auth', session_claim }, url);
  post();
  frame.addEventListener('load', post);
}"""
"""What LiteLLM's UI does with a plugin: the frame, the claim, and the message, again when the frame is loaded."""


def framed(browser: Browser, root: str, key: str, host: str = "127.0.0.1") -> Page:
    """A page of a host that shows the page in a frame, as LiteLLM's UI does it.

    Args:
        browser: gets a tab.
        root: address of the proxy on 127.0.0.1, with its root path.
        key: of the proxy.
        host: another name of the same machine is another origin.
    """
    page = browser.new_page()
    page.goto(f"{root}/health/liveliness".replace("127.0.0.1", host))
    page.evaluate(AS_THE_UI, [f"{root}/exacto", key])
    return page

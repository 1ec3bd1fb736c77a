"""The memory of conversations under many threads, as synchronous programs use it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from exacto_plugin.core.model import LiteLLMId
from exacto_plugin.core.routing.affinity import ConversationMap


def test_many_threads_share_it() -> None:
    """It holds as many as it may and no more, nothing is lost among the newest, and nobody meets an error."""
    conversations = ConversationMap(capacity=50)

    def converse(number: int) -> None:
        for turn in range(400):
            key = bytes([number, turn % 40])
            conversations.assign(key, LiteLLMId(str(number)), turn)
            conversations.touch(key, LiteLLMId(str(number)), turn)
            conversations.release(key, LiteLLMId("another"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(converse, range(8)))
    assert len(conversations) == 50

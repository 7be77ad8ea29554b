"""Models that behave as they are told to."""

from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field


class Scripted(BaseChatModel):
    """Gives its replies in turn, raises those that are errors, and remembers what it was asked."""

    replies: list[Any]
    asked: list[list[str]]

    def __init__(self, replies: list[Any]) -> None:
        super().__init__(replies=list(replies), asked=[])

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.asked.append([str(message.text) for message in messages])
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return ChatResult(generations=[ChatGeneration(message=self.said(reply))])

    def said(self, reply: Any) -> AIMessage:
        return reply if isinstance(reply, AIMessage) else AIMessage(reply)


class Calling(Scripted):
    """Calls a tool with each reply, and remembers which it was bound to."""

    bound: list[Any] = Field(default_factory=list)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self.bound[:] = tools
        return self.bind(tools=[])

    def said(self, reply: Any) -> AIMessage:
        return AIMessage("", tool_calls=[reply])

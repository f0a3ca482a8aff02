"""What the account of a single call tells of the template that it was made from."""

from __future__ import annotations

from sutlerd.domain.call import CacheMode, Call, ChatRequest, Labels, PromptUse, Route
from sutlerd.domain.caller import Caller
from sutlerd.ledger.accounts import Accounts
from sutlerd.pipeline.accounting import Accounting
from sutlerd.pipeline.prompting import labelled
from sutlerd.pipeline.resolve import read_labels
from tests.support.virtual_clock import VirtualClock

USE = PromptUse(name="plan", version="1.2", hash="0123456789abcdef" * 4)


def call(use: PromptUse | None) -> Call:
    return Call(
        request_id="r",
        caller=Caller(uid=1, gid=1, pid=1),
        request=ChatRequest(messages=(), max_tokens=1),
        routes=(Route(provider="p", model="m"),),
        deadline_s=1.0,
        lane="normal",
        labels=Labels(),
        cache_mode=CacheMode.ON,
        cacheable=True,
        cache_ttl_s=1.0,
        sample=0,
        stream=False,
        idempotent=False,
        prompt=use,
    )


def test_a_row_names_the_template_its_version_and_its_hash() -> None:
    accounting = Accounting(accounts=Accounts(), day=lambda: "2026-11-23", clock=VirtualClock())
    accounting.stores_with(lambda sums, rows: lambda txn: None, keeps_rows=True)
    accounting.failed(call(USE), "timeout", passed_s=1.0)
    accounting.failed(call(None), "timeout", passed_s=1.0)
    assert [row.prompt for row in accounting.take_rows()] == ["plan@1.2 0123456789abcdef", None]


def test_labels_tell_the_template_whatever_the_caller_claims() -> None:
    labels = read_labels(labelled({"prompt": "mine", "project": "x"}, USE))
    assert labels.project == "x"
    assert dict(labels.others) == {"prompt": "plan@1.2", "prompt_hash": "0123456789abcdef"}
    assert read_labels(labelled({"prompt": "mine"}, None)).others == (("prompt", "mine"),)

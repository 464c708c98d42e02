"""What did not go as asked, and why: one record for each, logged once and kept for the program."""

import json
import logging
import re
import threading
from dataclasses import asdict, dataclass
from typing import Literal, overload

from ostinato._engine import Error

log = logging.getLogger("ostinato")

# What a record can say, and what to do about it.
REMEDIES = {
    "BACKWARD": "Call the model under torch.inference_mode() or torch.no_grad().",
    "RNG_IN_CAPTURE": "Put the model into evaluation mode, draw the numbers outside the compiled "
    "function, or set the option force_eager.",
    "OPERATOR_MISSING": "It runs in PyTorch between two captured graphs; report it, or replace it.",
    "GRAPH_BREAK": "Move that line out of the compiled function; fullgraph=True makes it an error.",
    "CAPTURE_FAILED": "That call runs in PyTorch; the next one of that shape tries again.",
    "CACHE_MISS": "It is compiled anew and stored again where that is possible.",
    "BUCKET_EVICTED": "Raise capture_limit, or call with fewer shapes.",
    "ADDRESS_MOVED": "Keep the parameters where they are, or leave frozen_parameter out.",
    "PASS_SKIPPED": "The graph is right without it; make the rule fit, or remove it.",
    "OPTION_UNUSABLE": "Leave the option out on this device.",
}


@dataclass(frozen=True)
class Record:
    """One thing that did not go as asked."""

    code: str
    operator: str  # the operator or option; empty where there is none
    source: str  # `file:line in function`, as far as known
    remedy: str
    detail: str = ""

    def __str__(self):
        place = f" at {self.source}" if self.source else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"[{self.code}] {self.operator}{place}{detail}. {self.remedy}"


class CompileError(Error):
    """A record that stops the compilation: with `strict`, or where no right answer is left."""

    def __init__(self, record: Record):
        super().__init__(str(record))
        self.record = record
        self.code = record.code
        self.hint = record.remedy


_lock = threading.Lock()
_records: list[Record] = []
_logged: set[tuple[str, str, str]] = set()


@overload
def records(as_json: Literal[False] = False) -> list[Record]: ...
@overload
def records(as_json: Literal[True]) -> str: ...
def records(as_json: bool = False) -> list[Record] | str:
    """All records so far, oldest first; as JSON text where asked."""
    with _lock:
        found = list(_records)
    return json.dumps([asdict(record) for record in found]) if as_json else found


def report(code: str, operator: str, source: str = "", detail: str = "", strict=False) -> Record:
    """Keeps a record and logs it once a place; raises it where `strict`."""
    record = Record(code, operator, source, REMEDIES[code], detail.rstrip("."))
    if strict:
        raise CompileError(record)
    with _lock:
        _records.append(record)
        new = (code, operator, source) not in _logged
        _logged.add((code, operator, source))
    if new:
        log.warning("%s", record)
    return record


_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (.+)')


def source_of(node) -> str:
    """The user's line that an FX node comes from: `file:line in function`.

    The innermost one outside of PyTorch, whose own layers call operators too.
    """
    from ostinato.fingerprint import is_of_torch  # needs PyTorch, which this module does not

    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    if not frames:
        return ""
    outside = (frame for frame in reversed(frames) if not is_of_torch(frame[0]))
    return "{}:{} in {}".format(*next(outside, frames[-1]))

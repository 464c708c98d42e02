"""What the engine tells of its captures: the log of their cost, and records."""

import logging

from ostinato.diagnostics import report

log = logging.getLogger("ostinato")


def _sizes(details: dict) -> str:
    return ", ".join(f"{name}={size}" for name, size in sorted(details["sizes"].items()))


def on_event(event: str, details: dict):
    """Logs a new capture, and puts on record what did not go as asked."""
    name, strict = details["graph"], details["strict"]
    sizes = _sizes(details) or "its only shape"
    if event == "captured":
        log.info(
            "captured %s for %s: plan %.1f ms, packing %.1f ms, capture %.1f ms, arena %d bytes; "
            "%d captures, %d of them forced",
            *(name, sizes, details["plan_ms"], details["pack_ms"], details["capture_ms"]),
            *(details["arena_bytes"], details["captures"], details["recaptures"]),
        )
    elif event == "evicted":
        detail = f"the capture used longest ago went for {sizes}, at {details['limit']} captures"
        report("BUCKET_EVICTED", name, detail=detail, strict=strict)
    elif event == "moved":
        detail = f"argument {details['argument']} lies elsewhere; the program is made anew"
        report("ADDRESS_MOVED", name, detail=detail, strict=strict)
    elif event == "unkept":
        report("CACHE_MISS", name, detail=details["reason"])
    elif event == "failed":
        detail = f"for {sizes}: {details['reason']}"
        report("CAPTURE_FAILED", name, detail=detail, strict=strict)

"""How values look on a page: pure functions, registered as template filters."""

from datetime import UTC, datetime, timedelta

from markupsafe import Markup

from annotation_ui.words import _, ngettext

_UNITS = ("B", "KB", "MB", "GB", "TB")


def number(value: int) -> str:
    """1284 → "1,284"."""
    return f"{value:,}"


def score(value: float) -> str:
    """A score or distance with two decimals, "0.87"."""
    return f"{value:.2f}"


def short(value: float) -> str:
    """A score under a thumbnail, where room is scarce: ".87", "1.02"."""
    text = f"{value:.2f}"
    return text.removeprefix("0") if value >= 0 else text


def percent(share: float) -> str:
    """0.941 → "94.1"; the unit stands in the column's head."""
    return f"{100 * share:.1f}"


def file_size(count: int) -> str:
    """Bytes as a person says them: "1.9 MB"."""
    size = float(count)
    for unit in _UNITS[:-1]:
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "KB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} {_UNITS[-1]}"


def seconds(value: float) -> str:
    """A short duration: "0.4 s", "3 min", "5 h", "2 days"."""
    if value < 9.95:
        return _("%.1f s") % max(value, 0.0)
    if value < 90:
        return _("%d s") % round(value)
    if value < 90 * 60:
        return _("%d min") % round(value / 60)
    if value < 36 * 3600:
        return _("%d h") % round(value / 3600)
    days = round(value / 86400)
    return ngettext("%d day", "%d days", days) % days


def when(moment: datetime, now: datetime | None = None) -> Markup:
    """A `<time>`: relative under an hour, then clock and date in UTC, which `shell.js` makes local."""
    now = now or datetime.now(UTC)
    age = now - moment
    if age < timedelta(minutes=1):
        text = _("just now")
    elif age < timedelta(hours=1):
        text = _("%d min ago") % (age.total_seconds() // 60)
    elif age < timedelta(hours=20):
        text = f"{moment:%H:%M} UTC"
    else:
        text = f"{moment.day} {moment:%b %H:%M} UTC" if moment.year == now.year else f"{moment:%d %b %Y}"
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), text)


def initials(name: str) -> str:
    """Up to two letters that stand for a person: "Ines Walter" → "IW"."""
    return "".join(part[0] for part in name.split()[:2]).upper() or "?"


def bar_percent(value: float, longest: float) -> str:
    """Length of a bar as an SVG length, "72.5%"."""
    share = value / longest if longest > 0 else 0.0
    return f"{100 * min(max(share, 0.0), 1.0):.1f}%"

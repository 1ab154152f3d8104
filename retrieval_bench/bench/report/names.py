"""Names of pages: from any text a file name that is safe everywhere, and another one for every other text."""

import hashlib
import json
import re

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")


def slug(*parts: str) -> str:
    """A file name without ending.

    One short plain word keeps its name. All else is cut to what is plain and told apart by eight digits of its hash
    after a dot, which no plain word has; so no two names meet, whatever a file system thinks of upper case.

    Args:
        parts: What the page is about.
    """
    if len(parts) == 1 and _PLAIN.fullmatch(parts[0]):
        return parts[0]
    digits = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9_]+", "-", "-".join(parts).lower()).strip("-_")[:60]
    return f"{words or 'page'}.{digits}"

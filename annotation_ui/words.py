"""The catalogue of words. Every string that a person reads goes through `_` or `ngettext`.

English is written in the code and templates. Another language is a compiled gettext catalogue
``locale/<language>/LC_MESSAGES/newfound.mo`` beside this file; without one the English stands.
"""

import gettext
from pathlib import Path

translations = gettext.translation(
    "newfound", localedir=Path(__file__).parent / "locale", languages=["en"], fallback=True
)
_ = translations.gettext
ngettext = translations.ngettext

"""The features in Feast: an entity, sources, views, labels and services, which `resources/feature_store/definitions.py` defines.

It is one module of variables, because Feast imports every file of its repository by bare name and collects what these hold.
"""

import os
from pathlib import Path

from resources.feature_store.definitions import SYMBOL, definitions

_made = definitions(str(Path(os.environ.get("TAPEWATCH_HOME", "data")).absolute() / "lake"))

symbol = SYMBOL
_all = (*_made.sources, *_made.push_sources, *_made.views, *_made.labels, *_made.services)
globals().update({made.name: made for made in _all})

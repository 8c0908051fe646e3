"""The nouns, their states and the moves between them; pure, frozen, and the same in every store."""

# Until the last importer names the module that it means.
from app.model.blobs import *  # noqa: F403
from app.model.deliveries import *  # noqa: F403
from app.model.jobs import *  # noqa: F403

"""Where Bentos are built and kept."""

import dagster as dg


class BentoStoreResource(dg.ConfigurableResource):
    """BentoML's home folder; kept outside the project tree, which would otherwise be packed into every Bento."""

    home: str

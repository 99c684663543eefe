"""BentoML's store as a Dagster resource."""

import dagster as dg


class BentoStoreResource(dg.ConfigurableResource):
    """BentoML's home folder, outside the project tree, which is packed into every Bento."""

    home: str

"""A version on disk: schema, codec, manifest, catalog, publishing, verification, differences."""

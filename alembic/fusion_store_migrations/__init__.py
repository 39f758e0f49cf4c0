"""The schema's migrations, run by ``fusion_store_sql``."""

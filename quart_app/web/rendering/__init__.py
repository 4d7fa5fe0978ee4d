"""How pages are rendered: context, filters, static files, charts."""

"""Serving: an API in the manner of OpenAI's, and the page. Needs the extra `serve`."""

"""How results show themselves in a notebook that have nothing better than their text."""

from html import escape


class Shown:
    """Something whose text a notebook shows as it is, line by line."""

    def _repr_html_(self) -> str:
        return f'<pre style="white-space:pre-wrap">{escape(str(self))}</pre>'

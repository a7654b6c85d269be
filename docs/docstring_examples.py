"""Shows the `Example:` section of a docstring as code: griffe's own name for it is `Examples:`."""

import re

from griffe import Extension, Object


class DocstringExamples(Extension):
    """Renames the heading before griffe reads the docstring's sections."""

    def on_object(self, *, obj: Object, **_: object) -> None:
        """Rename the heading in the docstring of one object."""
        if obj.docstring:
            text = obj.docstring.value
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.M)

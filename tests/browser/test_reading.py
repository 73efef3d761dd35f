"""How answers read in the built-in chat: what a text becomes, how it grows, where it is scrolled to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from chatkit.server import stream_widget  # noqa: F401
from chatkit.types import (
    Annotation,
    AssistantMessageContent,
    AssistantMessageItem,
    FileSource,
    URLSource,
)

from tests.browser.test_builtin import Chat
from tests.helpers import builtin_server as site

RICH = r"""# What is shown

A paragraph with `code`, **bold** and a formula \(e^{i\pi} + 1 = 0\), which costs $5 and $6.

## Smaller

### Smallest

$$
\int_0^1 x^2 \, dx
= \frac{1}{3}
$$

\[ \begin{aligned} a &= b + c \\ d &= \sqrt{e} \end{aligned} \]

- [x] done
- [ ] to do, with [a link](https://example.org/)
  - [x] below

| Name | What it is | Price | Where | When it was made, and by whom | Note |
|---|---|---:|---|---|---|
| Tea | A drink of leaves that are older than most of what we know of them | 3.50 | Assam | 1823 | Long words: Donaudampfschifffahrtsgesellschaft |
| Coffee | Beans | 4.20 | Harar | 850 | |

```python
@app.get("/orders")  # a comment
def orders(limit: int = 10) -> list[str]:
    return [f"order {n}" for n in range(limit)] or None
```

```html
<a href="/x" class="y">link</a>
```

> A quote with *words*.

العربية هي لغة **جميلة** ومكتوبة من اليمين.

- אחת
- שתיים

Picture: ![A dot](PIXEL)
""".replace("PIXEL", site.PIXEL)

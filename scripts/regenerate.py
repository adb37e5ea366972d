"""Write everything that is made from the code: JSON Schemas, the pages of the checks, the page of known failures.

Tests fail where one of them is out of date.
"""

from __future__ import annotations

import make_check_pages
import make_failure_page
import make_schemas


def main() -> None:
    make_schemas.main()
    make_check_pages.main()
    make_failure_page.main()


if __name__ == "__main__":
    main()

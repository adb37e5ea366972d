"""Write everything that is generated from the code: JSON Schemas, check pages, the pages of known failures and of wheels, a picture.

Tests fail if one of them is out of date.
"""

from __future__ import annotations

import make_check_pages
import make_failure_page
import make_pictures
import make_schemas
import make_wheel_matrix


def main() -> None:
    make_schemas.main()
    make_check_pages.main()
    make_failure_page.main()
    make_pictures.main()
    make_wheel_matrix.main()


if __name__ == "__main__":
    main()

"""python -m rekindle_cinder.repair"""

from rekindle_cinder.repair.command import main

raise SystemExit(main())

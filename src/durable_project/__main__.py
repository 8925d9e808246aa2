from durable_project import main

raise SystemExit(main())

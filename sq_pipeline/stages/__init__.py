"""Plain functions, one module a stage of the flow. A stage is given its engine; it never imports one."""

"""The largest picture that is rendered for anybody: sides, area, steps."""

SIDE_MAX_PX, AREA_MAX_PX = 4096, 1 << 22


STEPS_MAX = 200

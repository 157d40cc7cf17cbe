"""The largest picture that is rendered for anybody: sides, area, steps."""

SIDE_MIN_PX, SIDE_MAX_PX, SIDE_STEP_PX, AREA_MAX_PX = 64, 4096, 16, 1 << 22


STEPS_MAX = 200

"""Modules by their dotted paths, as mflux's loader walks them: getting one, putting one, a tree that has only one."""

from typing import Any

from mlx import nn


def get_module(root: nn.Module, path: str) -> nn.Module:
    """The module at a path such as `transformer_blocks.3.attn.to_out.0`, `all_x_embedder.2-1`.

    Raises AttributeError, IndexError or KeyError.
    """
    at: Any = root
    for part in path.split("."):
        at = _step(at, part)
    return at


def put_module(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of the one at the path."""
    *way, last = path.split(".")
    parent: Any = root
    for part in way:
        parent = _step(parent, part)
    if isinstance(parent, list):
        parent[int(last)] = module
    elif isinstance(parent, nn.Module):
        setattr(parent, last, module)
    else:
        parent[last] = module


def _step(parent: Any, part: str) -> Any:
    if isinstance(parent, list):
        return parent[int(part)]
    is_plain = isinstance(parent, dict) and not isinstance(parent, nn.Module)  # a module of MLX is a dict too
    return parent[part] if is_plain else getattr(parent, part)


def grow_tree(path: str, module: nn.Module) -> nn.Module:
    """A module with nothing in it but `module` at the path; places of a list before it hold empty modules."""
    tree: object = module
    for part in reversed(path.split(".")):
        if part.isdigit():
            tree = [*(nn.Module() for _ in range(int(part))), tree]
        else:
            parent = nn.Module()
            setattr(parent, part, tree)
            tree = parent
    assert isinstance(tree, nn.Module)
    return tree

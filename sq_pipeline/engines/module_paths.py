"""Modules by their dotted paths, as mflux's loader walks them: getting one, putting one, a tree that has only one."""

from mlx import nn


def get_module(root: nn.Module, path: str) -> nn.Module:
    """The module at a path such as `transformer_blocks.3.attn.to_out.0`; raises AttributeError or IndexError."""
    parent, last = _parent(root, path)
    return parent[int(last)] if last.isdigit() else getattr(parent, last)  # type: ignore[index]


def put_module(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of the one at the path."""
    parent, last = _parent(root, path)
    if last.isdigit():
        parent[int(last)] = module  # type: ignore[index]
    else:
        setattr(parent, last, module)


def _parent(root: nn.Module, path: str) -> tuple[object, str]:
    parent: object = root
    *way, last = path.split(".")
    for part in way:
        parent = parent[int(part)] if part.isdigit() else getattr(parent, part)  # type: ignore[index]
    return parent, last


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

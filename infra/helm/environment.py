"""What a process of the chart finds: its environment, and the files that are mounted into it."""

from typing import Any

Json = dict[str, Any]


def environment(objects: list[Json], template: Json) -> dict[str, str]:
    """Of the pod's only container, as the cluster puts it together; keys of Secrets are not in it, as nothing but the cluster has them.

    Raises:
        KeyError: a ConfigMap that is not among the objects.
    """
    maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
    (container,) = template["spec"]["containers"]
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if named := source.get("configMapRef"):
            found |= maps[named["name"]]
    return found | {each["name"]: each["value"] for each in container.get("env", ())}


def mounted(objects: list[Json], template: Json) -> tuple[set[str], set[str]]:
    """(files, folders): absolute paths of files that are named one by one, and of folders whose content the chart does not know."""
    (container,) = template["spec"]["containers"]
    volumes = {each["name"]: each for each in template["spec"].get("volumes", ())}
    maps = {each["metadata"]["name"]: each["data"] for each in objects if each["kind"] == "ConfigMap"}
    files, folders = set(_written_by_vault(template)), set()
    for mount in container.get("volumeMounts", ()):
        volume, at = volumes[mount["name"]], mount["mountPath"]
        if "projected" in volume:
            files |= {
                f"{at}/{item['path']}" for each in volume["projected"]["sources"] for item in each["secret"]["items"]
            }
        elif "configMap" in volume:
            source = volume["configMap"]
            items = source.get("items") or [{"path": key} for key in maps[source["name"]]]
            files |= {f"{at}/{item['path']}" for item in items}
        else:
            folders.add(at)
    return files, folders


def _written_by_vault(template: Json) -> set[str]:
    annotations = template["metadata"].get("annotations", {})
    folder = annotations.get("vault.hashicorp.com/secret-volume-path", "")
    return {
        f"{folder}/{value}"
        for name, value in annotations.items()
        if name.startswith("vault.hashicorp.com/agent-inject-file-")
    }

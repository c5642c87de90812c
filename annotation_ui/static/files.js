// Files with their place in a dropped or chosen folder: [{name, file}].

export const picked = (files) => [...files].map((file) => ({ name: file.webkitRelativePath || file.name, file }));

// Everything that was dropped, folders with all that is below them.
export async function dropped(transfer) {
  // The list empties itself after this turn: take the entries out first.
  const roots = [...transfer.items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry());
  const found = [];
  for (const root of roots) if (root) await walk(root, found);
  return found;
}

async function walk(entry, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
    found.push({ name: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A reader gives some 100 entries at a time, and none at the end.
    const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    if (!some.length) return;
    for (const child of some) await walk(child, found);
  }
}

/** @param {Item} item @param {DOMStringMap} filters */
export function matches({ level, read_at, source }, filters) {
  return (
    ["all", read_at === null ? "unread" : "read"].includes(filters.state ?? "") &&
    (!filters.level || filters.level === level) &&
    (!filters.sourceApp || filters.sourceApp === source.app)
  );
}

/** @param {DOMStringMap} filters */
export function isNarrowed({ level, sourceApp }) {
  return Boolean(level || sourceApp);
}

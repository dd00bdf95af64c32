// Loaded into the storage emulator before its own code, so that 15,000 names do not keep it busy with itself.
const path = require("path");
const blobs = path.dirname(process.argv[1]);

// Every ten minutes it looks for bytes that no blob refers to, all of it in one turn of its event loop. Each of some ten thousand
// of them costs it a pass over all: nobody hears from it for minutes.
require(path.join(blobs, "utils", "constants.js")).DEFAULT_GC_INTERVAL_MS = 2 ** 31 - 1;

// To list what begins with a prefix it tries a pattern on every name that there is, though it has them in order.
const { Resultset } = require(require.resolve("lokijs", { paths: [blobs] }));
const find = Resultset.prototype.find;
Resultset.prototype.find = function (query, firstOnly) {
  const pattern = query?.name?.$regex;
  if (typeof pattern === "string" && pattern.startsWith("^")) {
    const prefix = pattern.slice(1).replace(/\\(.)/gs, "$1");
    query = { ...query, name: { $between: [prefix, `${prefix}\uffff`] } };
  }
  return find.call(this, query, firstOnly);
};

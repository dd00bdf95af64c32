// Loaded into the storage emulator before its own code. Every ten minutes that looks for bytes that no blob refers to, all of
// it in one turn of its event loop: with some ten thousand blobs and as many rewritten records nobody hears from it for seconds.
const path = require("path");
const constants = require(path.join(path.dirname(process.argv[1]), "utils", "constants.js"));
constants.DEFAULT_GC_INTERVAL_MS = 2 ** 31 - 1;

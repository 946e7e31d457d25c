
// ---- The history of a job is being read. Not by a header or an element: with a part behind "#", browsers stay where they are. ----
setTimeout(() => location.reload(), 1000);

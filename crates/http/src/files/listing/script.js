const rows = document.querySelector("tbody").rows, filter = document.getElementById("filter");
if (rows.length > 10) filter.hidden = false;
filter.addEventListener("input", () => {
  const wanted = filter.value.toLowerCase();
  for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
});
const form = document.forms.upload;
if (form) {
  const over = yes => document.body.classList.toggle("over", yes);
  addEventListener("dragover", event => { event.preventDefault(); over(true); });
  addEventListener("dragleave", event => { if (!event.relatedTarget) over(false); });
  addEventListener("drop", event => {
    event.preventDefault();
    over(false);
    if (!event.dataTransfer.files.length) return;
    form.file.files = event.dataTransfer.files;
    form.submit();
  });
}

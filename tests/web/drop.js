// Drop a file on the page, as a person does. @DATA@: its bytes in base64.
(() => {
  const bytes = Uint8Array.from(atob('@DATA@'), (char) => char.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], 'Katalog Herbst.pdf', {type: 'application/pdf', lastModified: 1}));
  for (const type of ['dragenter', 'dragover', 'drop'])
    document.body.dispatchEvent(new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true}));
})()

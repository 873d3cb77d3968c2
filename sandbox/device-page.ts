// The page on which a person lets a device in, or not.
import type { Device } from './devices.ts';

/** `device` is undefined where no code, or none that waits, was given. */
export function devicePage(userCode: string, device: Device | undefined, message: string): string {
  const waits = device?.state === 'pending';
  const form = waits
    ? `<form method="post" action="/device"><input type="hidden" name="user_code" value="${escaped(userCode)}">
<p>Code <b>${escaped(device.userCode)}</b>, asked for by client <b>${escaped(device.clientId)}</b></p>
<p><label>E-mail address <input name="email" value="person@sandbox.invalid"></label></p>
<button name="action" value="approve">Approve</button> <button name="action" value="deny">Deny</button></form>`
    : `<form method="get" action="/device"><label>Code <input name="user_code"></label> <button>Go on</button></form>`;
  return `<!doctype html><meta charset="utf-8"><title>Sandbox: device login</title>
<h1>Sandbox: device login</h1><p>${escaped(message)}</p>${form}`;
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

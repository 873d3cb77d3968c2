// Device authorisations (RFC 8628): a code for the device, a code for the person, and the person's decision.
import { randomBytes, randomInt } from 'node:crypto';
import { createBoundedMap } from './bounded-map.ts';

/** Who speaks: Warp's own endpoints, whose access token is a custom token, or plain OAuth 2.0. */
export type DeviceDialect = 'warp' | 'oauth';

export interface Device {
  readonly dialect: DeviceDialect;
  readonly deviceCode: string;
  readonly userCode: string;
  readonly clientId: string;
  readonly expiresAt: number;
  /** Grows by 5 s with every poll that comes too soon. */
  intervalSeconds: number;
  state: 'pending' | 'approved' | 'denied' | 'spent';
  /** Who approved it. */
  email: string | null;
  lastPollAt: number | null;
  polls: number;
  /** Polls within the interval. */
  pollsTooSoon: number;
}

export interface DeviceSettings {
  /** Default 5. */
  intervalSeconds: number;
  /** Default 600. */
  lifetimeSeconds: number;
}

export type PollError =
  | 'authorization_pending'
  | 'slow_down'
  | 'access_denied'
  | 'expired_token'
  | 'invalid_grant';

export interface Devices {
  readonly settings: DeviceSettings;
  start(dialect: DeviceDialect, clientId: string): Device;
  /** Finds by the person's code, in any case and with or without the dash. */
  find(userCode: string): Device | undefined;
  /** False when nothing waits under this code any more. */
  decide(userCode: string, decision: 'approve' | 'deny', email?: string): boolean;
  /** The device whose approval is handed over now, once; or the error to say. */
  poll(dialect: DeviceDialect, deviceCode: string, clientId: string): Device | PollError;
  all(): Device[];
}

const kept = 1_000;
const secondsSlower = 5;
/** Clocks and networks wobble: so much too soon is not too soon. */
const slackMs = 50;
/** No vowels: no words. */
const letters = 'BCDFGHJKLMNPQRSTVWXZ';

export function createDevices(now: () => number): Devices {
  const settings: DeviceSettings = { intervalSeconds: 5, lifetimeSeconds: 600 };
  const byDeviceCode = createBoundedMap<Device>(kept);
  const byUserCode = createBoundedMap<Device>(kept);
  const find = (userCode: string): Device | undefined => byUserCode.get(plain(userCode));

  return {
    settings,
    find,
    start(dialect, clientId) {
      const word = (): string => Array.from({ length: 4 }, () => letters[randomInt(letters.length)]).join('');
      const device: Device = {
        dialect,
        clientId,
        deviceCode: `dc-${randomBytes(24).toString('base64url')}`,
        userCode: `${word()}-${word()}`,
        expiresAt: now() + settings.lifetimeSeconds * 1_000,
        intervalSeconds: settings.intervalSeconds,
        state: 'pending',
        email: null,
        lastPollAt: null,
        polls: 0,
        pollsTooSoon: 0,
      };
      byDeviceCode.set(device.deviceCode, device);
      byUserCode.set(plain(device.userCode), device);
      return device;
    },
    decide(userCode, decision, email) {
      const device = find(userCode);
      if (device === undefined || device.state !== 'pending' || device.expiresAt <= now()) return false;
      device.state = decision === 'approve' ? 'approved' : 'denied';
      device.email = email ?? 'person@sandbox.invalid';
      return true;
    },
    poll(dialect, deviceCode, clientId) {
      const device = byDeviceCode.get(deviceCode);
      if (device === undefined || device.dialect !== dialect || device.clientId !== clientId) {
        return 'invalid_grant';
      }
      device.polls += 1;
      const isTooSoon =
        device.lastPollAt !== null && now() - device.lastPollAt < device.intervalSeconds * 1_000 - slackMs;
      device.lastPollAt = now();
      if (device.state === 'spent') return 'invalid_grant';
      if (device.expiresAt <= now()) return 'expired_token';
      if (isTooSoon) {
        device.pollsTooSoon += 1;
        device.intervalSeconds += secondsSlower;
        return 'slow_down';
      }
      if (device.state === 'denied') return 'access_denied';
      if (device.state === 'pending') return 'authorization_pending';
      device.state = 'spent';
      return device;
    },
    all: () => byDeviceCode.values(),
  };
}

function plain(userCode: string): string {
  return userCode.replaceAll(/[^A-Za-z]/g, '').toUpperCase();
}

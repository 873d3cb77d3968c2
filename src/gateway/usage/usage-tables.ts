import type { TablesStep } from '../../db/migrate.ts';

export const usageTables: TablesStep = { version: 3, name: 'usage', sqlite: '', postgres: '' };

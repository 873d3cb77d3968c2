import type { TablesStep } from '../../db/migrate.ts';

export const keyTables: TablesStep = { version: 1, name: 'keys', sqlite: '', postgres: '' };

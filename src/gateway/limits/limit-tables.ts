import type { TablesStep } from '../../db/migrate.ts';

export const limitTables: TablesStep = { version: 2, name: 'limits', sqlite: '', postgres: '' };

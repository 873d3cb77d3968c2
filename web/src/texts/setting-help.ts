/** What settings mean, in Chinese, by name; of others the service's own words are shown. */
export const settingHelp: Readonly<Record<string, string>> = {};

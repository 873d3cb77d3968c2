import { texts } from '../text.ts';

const actionsText = texts(
  {
    en: {
      'account-added': 'Added',
      'account-changed': 'Settings changed',
      'account-activated': 'Taken from standby',
      'account-probed': 'Tried at its provider',
      'account-given-up': 'Given up until it has another credential',
      'account-removed': 'Removed',
      'credential-replaced': 'Credential replaced',
      'login-started': 'Login started',
      'refresh-forced': 'Refresh forced',
      'ceiling-passed': 'Refreshed sooner than allowed, by force',
      'refresh-interrupted': 'Refresh cut off',
      lease: 'Lent to a program',
    },
    zh: {
      'account-added': '已添加',
      'account-changed': '设置已修改',
      'account-activated': '从备用转为启用',
      'account-probed': '已向提供商验证',
      'account-given-up': '已停止使用，需更换凭据',
      'account-removed': '已移除',
      'credential-replaced': '凭据已更换',
      'login-started': '已开始登录',
      'refresh-forced': '强制刷新',
      'ceiling-passed': '强制提前刷新',
      'refresh-interrupted': '刷新中断',
      lease: '借给程序',
    },
  },
  { en: {}, zh: {} },
);

/** What was done, in words; an action that this page does not know is shown as it is. */
export function actionText(action: string): string {
  const known: Readonly<Record<string, string>> = actionsText();
  return (Object.hasOwn(known, action) && known[action]) || action;
}

import { texts } from '../text.ts';

export const signInText = texts({
  en: {
    title: 'Sign in',
    lead: 'This page is for the person who runs the service.',
    key: 'Admin key',
    hint: 'The value of ADMIN_KEY. This browser gets a cookie for it and does not keep the key.',
    show: 'Show the key',
    empty: 'Enter the key.',
    wrong: 'This is not the admin key.',
    slow: (seconds: string) => `Too many wrong keys were tried. Try again in ${seconds} s.`,
    plainHttp:
      'This page came over plain HTTP: the key can be read on the way. Use an address with https, or a tunnel to the machine.',
    expired: 'You were signed out, as the session had ended. Sign in again to go on where you were.',
  },
  zh: {
    title: '登录',
    lead: '此页面供服务的管理者使用。',
    key: '管理密钥',
    hint: '即 ADMIN_KEY 的值。浏览器只保存登录 Cookie，不保存密钥本身。',
    show: '显示密钥',
    empty: '请输入密钥。',
    wrong: '管理密钥不正确。',
    slow: (seconds: string) => `错误次数过多，请在 ${seconds} 秒后重试。`,
    plainHttp: '此页面通过未加密的 HTTP 加载，密钥可能被窃听。请使用 https 地址，或通过隧道访问。',
    expired: '登录已过期。重新登录后可继续刚才的操作。',
  },
});

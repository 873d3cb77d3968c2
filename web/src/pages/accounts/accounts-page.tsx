import { PageHead } from '../../components/page.tsx';
import { frameText } from '../../texts/frame.ts';

export function AccountsPage() {
  return <PageHead title={frameText().accounts} />;
}

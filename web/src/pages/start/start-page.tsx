import { PageHead } from '../../components/page.tsx';
import { session } from '../../session.ts';
import { startText } from '../../texts/start.ts';
import { Clients } from './clients.tsx';
import { Steps, useSteps } from './steps.tsx';
import './start.css';

export function StartPage() {
  const text = startText();
  const steps = useSteps();
  const isDone = steps.list?.every(({ state }) => state !== 'open');
  const isGateway = session.value?.service === 'gateway';
  return (
    <>
      <PageHead
        title={text.start}
        lead={isDone === undefined ? ' ' : isDone ? text.leadDone : text.leadOpen}
      />
      <div class="start">
        <Steps {...steps} />
        {isGateway && <Clients isKeyNeeded={steps.isKeyNeeded} />}
      </div>
    </>
  );
}

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
  const lead = isDone ? (isGateway ? text.leadClients : text.leadDone) : text.leadOpen;
  return (
    <>
      <PageHead title={text.start} lead={isDone === undefined ? ' ' : lead} />
      <div class="start">
        <Steps {...steps} />
        {isGateway && <Clients isKeyNeeded={steps.isKeyNeeded} />}
      </div>
    </>
  );
}
